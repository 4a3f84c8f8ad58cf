/* Talks to a ternforge board over its serial port: C99 and POSIX, nothing else.
 *
 *     cc -O2 -o chat chat.c
 *     ./chat [-b BAUD] [-u IMAGE.tfi] [-n COUNT] PORT TOKEN...
 *
 * The line has 1000000 symbols per second unless told. Uploads the image if one is given, feeds the
 * tokens of the prompt, and prints COUNT tokens (16 unless told), one a line, as the board generates
 * them. Exit code 2 and one sentence if it fails.
 */
#define _DEFAULT_SOURCE /* B1000000 is no part of POSIX */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "ternforge.h"

enum {
    PATIENCE_MS = 5000,  /* without a byte: the answer is lost */
    QUIET_MS = 100,      /* without a byte: the line is quiet */
    RETRIES = 3,
    MEMORY_TRIES = 10000, /* a second or more on the line */
    WINDOW = 16,         /* WRITE requests under way at a time */
    CHECK_BEATS_MOST = 4096
};

struct board {
    int port;
    uint8_t sequence;
    unsigned version, lanes;
    unsigned long memory_beats;
};

struct frame {
    uint8_t code, sequence, length;
    uint8_t payload[255];
};

static void fail(const char *sentence, const char *detail) {
    fprintf(stderr, "%s%s%s\n", sentence, detail ? ": " : "", detail ? detail : "");
    exit(2);
}

static unsigned long number(const uint8_t *bytes, int size) {
    unsigned long value = 0;
    while (size--) value = value << 8 | bytes[size];
    return value;
}

static void put(uint8_t *bytes, unsigned long value, int size) {
    for (int k = 0; k < size; ++k) bytes[k] = (uint8_t)(value >> 8 * k);
}

static uint16_t crc16(const uint8_t *bytes, size_t count) {
    uint16_t sum = TERNFORGE_CRC_START;
    while (count--) {
        sum = (uint16_t)(sum ^ *bytes++ << 8);
        for (int k = 0; k < 8; ++k)
            sum = (uint16_t)(sum & 0x8000 ? sum << 1 ^ TERNFORGE_CRC_POLYNOMIAL : sum << 1);
    }
    return sum;
}

static uint32_t crc32(const uint8_t *bytes, size_t count) {
    uint32_t sum = 0xFFFFFFFFu;
    while (count--) {
        sum ^= *bytes++;
        for (int k = 0; k < 8; ++k) sum = sum & 1 ? sum >> 1 ^ 0xEDB88320u : sum >> 1;
    }
    return ~sum;
}

/* ---- bytes ---- */

static speed_t speed_of(long baud) {
#ifdef B3000000
    if (baud == 3000000) return B3000000;
#endif
#ifdef B1000000
    if (baud == TERNFORGE_BAUD) return B1000000;
#endif
    fail("this system has no such baud rate", NULL);
    return 0;
}

static int open_port(const char *name, long baud) {
    int port = open(name, O_RDWR | O_NOCTTY);
    if (port < 0) fail("the serial port cannot be opened", strerror(errno));
    struct termios settings;
    if (tcgetattr(port, &settings)) fail("this is no serial port", name);
    settings.c_iflag &= (tcflag_t) ~(BRKINT | ICRNL | IGNCR | INLCR | INPCK | ISTRIP | IXON | IXOFF
                                     | PARMRK);
    settings.c_oflag &= (tcflag_t)~OPOST;
    settings.c_lflag &= (tcflag_t) ~(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
    settings.c_cflag &= (tcflag_t) ~(CSIZE | PARENB | CSTOPB);
    settings.c_cflag |= CS8 | CREAD | CLOCAL;
    settings.c_cc[VMIN] = 0;
    settings.c_cc[VTIME] = 0;
    cfsetispeed(&settings, speed_of(baud));
    cfsetospeed(&settings, speed_of(baud));
    if (tcsetattr(port, TCSANOW, &settings)) fail("the port cannot be set up", strerror(errno));
    return port;
}

static void write_all(int port, const uint8_t *bytes, size_t count) {
    while (count) {
        ssize_t done = write(port, bytes, count);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) fail("the connection broke off", strerror(errno));
        bytes += done, count -= (size_t)done;
    }
}

/* The next byte; -1 if none comes in time. */
static int read_byte(int port, int milliseconds) {
    static uint8_t waiting[4096];
    static ssize_t count = 0, next = 0;
    if (next == count) {
        struct pollfd poll_port = {.fd = port, .events = POLLIN};
        int found = poll(&poll_port, 1, milliseconds);
        if (found == 0) return -1;
        if (found < 0) fail("the connection broke off", strerror(errno));
        next = 0;
        count = read(port, waiting, sizeof waiting);
        if (count <= 0) fail("the connection broke off", count ? strerror(errno) : NULL);
    }
    return waiting[next++];
}

/* ---- frames ---- */

static uint8_t send_frame(struct board *board, uint8_t code, const uint8_t *payload,
                          uint8_t length) {
    uint8_t bytes[255 + TERNFORGE_FRAME_OVERHEAD];
    bytes[0] = TERNFORGE_SYNC;
    bytes[TERNFORGE_FRAME_LENGTH] = length;
    bytes[TERNFORGE_FRAME_SEQUENCE] = ++board->sequence;
    bytes[TERNFORGE_FRAME_CODE] = code;
    if (length) memcpy(bytes + TERNFORGE_FRAME_PAYLOAD, payload, length);
    const uint16_t sum = crc16(bytes + 1, (size_t)length + 3);
    bytes[TERNFORGE_FRAME_PAYLOAD + length] = (uint8_t)(sum >> 8);
    bytes[TERNFORGE_FRAME_PAYLOAD + length + 1] = (uint8_t)sum;
    write_all(board->port, bytes, (size_t)length + TERNFORGE_FRAME_OVERHEAD);
    return board->sequence;
}

/* The next frame that is whole; 0 if the line falls silent. */
static int receive(struct board *board, struct frame *frame, int milliseconds) {
    for (;;) {
        uint8_t bytes[255 + TERNFORGE_FRAME_OVERHEAD];
        int byte;
        do {
            if ((byte = read_byte(board->port, milliseconds)) < 0) return 0;
        } while (byte != TERNFORGE_SYNC);
        int have = 1, want = 2;
        while (have < want && (byte = read_byte(board->port, milliseconds)) >= 0) {
            bytes[have++] = (uint8_t)byte;
            if (have == 2) want = byte + TERNFORGE_FRAME_OVERHEAD;
        }
        if (have < want) return 0;
        if (crc16(bytes + 1, (size_t)want - 1)) continue; /* 0 over a frame and its own sum */
        frame->length = bytes[TERNFORGE_FRAME_LENGTH];
        frame->sequence = bytes[TERNFORGE_FRAME_SEQUENCE];
        frame->code = bytes[TERNFORGE_FRAME_CODE];
        memcpy(frame->payload, bytes + TERNFORGE_FRAME_PAYLOAD, frame->length);
        return 1;
    }
}

static void refused(struct board *board, uint8_t code) {
    static const char *const states[] = {NULL, "its memory is still initialising",
                                         "its memory failed its training or its test",
                                         "its memory answered with an error"};
    if ((code & TERNFORGE_REASON_MASK) != TERNFORGE_REASON_FAULT)
        fail("the board refused a request: is it another version?", NULL);
    if (board->version == TERNFORGE_EXTERNAL_VERSION) {
        struct frame reply;
        send_frame(board, TERNFORGE_COMMAND_COUNTERS, NULL, 0);
        while (receive(board, &reply, PATIENCE_MS))
            if (reply.code == (TERNFORGE_REPLY | TERNFORGE_COMMAND_COUNTERS) &&
                reply.length >= TERNFORGE_COUNTERS_EXTERNAL_LENGTH &&
                reply.payload[TERNFORGE_COUNTERS_MEMORY] % 4)
                fail("the board refused a request",
                     states[reply.payload[TERNFORGE_COUNTERS_MEMORY] % 4]);
            else
                break;
    }
    fail("the board refused a step: it has no image, or a token is outside of its vocabulary",
         NULL);
}

static int is_damage(const struct frame *reply) {
    return reply->code == (TERNFORGE_REPLY | TERNFORGE_REFUSED | TERNFORGE_REASON_CRC) ||
           reply->code == (TERNFORGE_REPLY | TERNFORGE_REFUSED | TERNFORGE_REASON_LENGTH);
}

/* Ask once more where that changes nothing. */
static void request(struct board *board, uint8_t code, const uint8_t *payload, uint8_t length,
                    struct frame *reply) {
    const int repeatable = code != TERNFORGE_COMMAND_STEP && code != TERNFORGE_COMMAND_GENERATE;
    for (int tries = 0; tries <= RETRIES; ++tries) {
        const uint8_t sequence = send_frame(board, code, payload, length);
        while (receive(board, reply, PATIENCE_MS)) {
            if (reply->sequence != sequence) continue;
            if (reply->code == (TERNFORGE_REPLY | code)) return;
            if (is_damage(reply)) break;
            if (reply->code & TERNFORGE_REFUSED) refused(board, reply->code);
        }
        if (!repeatable && !(reply->sequence == sequence && is_damage(reply)))
            fail("an answer was lost, so that the state of the sequence is unknown", NULL);
    }
    fail("the board does not answer: check the port, the cable and the bitstream", NULL);
}

/* ---- upload ---- */

/* Write beats `first` to `end` - 1 of `memory`, a window of requests at a time. */
static void write_beats(struct board *board, const uint8_t *memory, unsigned long first,
                        unsigned long end) {
    unsigned long most = 1; /* beats in one request */
    if (board->version == TERNFORGE_EXTERNAL_VERSION && board->lanes < TERNFORGE_WRITE_MOST)
        most = TERNFORGE_WRITE_MOST / board->lanes;
    int failures = 0;
    while (first < end) {
        uint8_t payload[255], start = 0;
        unsigned long next = first;
        int count = 0;
        for (; count < WINDOW && next < end; ++count) {
            const unsigned long beats = end - next < most ? end - next : most;
            put(payload, next, TERNFORGE_WRITE_ADDRESS);
            memcpy(payload + TERNFORGE_WRITE_ADDRESS, memory + next * board->lanes,
                   beats * board->lanes);
            const uint8_t sequence = send_frame(board, TERNFORGE_COMMAND_WRITE, payload,
                                                (uint8_t)(beats * board->lanes
                                                          + TERNFORGE_WRITE_ADDRESS));
            if (!count) start = sequence;
            next += beats;
        }
        uint32_t answered = 0; /* one bit for each of the window */
        struct frame reply;
        const uint32_t all = (uint32_t)((UINT64_C(1) << count) - 1);
        while (answered != all && receive(board, &reply, failures ? QUIET_MS : PATIENCE_MS)) {
            const uint8_t place = (uint8_t)(reply.sequence - start);
            if (is_damage(&reply)) break;
            if (reply.code & TERNFORGE_REFUSED && place < count) refused(board, reply.code);
            if (reply.code == (TERNFORGE_REPLY | TERNFORGE_COMMAND_WRITE) && place < count)
                answered |= UINT32_C(1) << place;
        }
        if (answered == all) {
            first = next, failures = 0;
        } else {
            while (receive(board, &reply, QUIET_MS)) { /* until the line is quiet */ }
            if (++failures > RETRIES) fail("the board does not answer in an upload", NULL);
        }
    }
}

static void check_beats(struct board *board, const uint8_t *memory, unsigned long first,
                        unsigned long end) {
    for (; first < end; first += CHECK_BEATS_MOST) {
        const unsigned long count = end - first < CHECK_BEATS_MOST ? end - first : CHECK_BEATS_MOST;
        uint8_t payload[TERNFORGE_CHECK_LENGTH];
        struct frame reply;
        put(payload + TERNFORGE_CHECK_ADDRESS, first, 3);
        put(payload + TERNFORGE_CHECK_BEATS, count, 3);
        request(board, TERNFORGE_COMMAND_CHECK, payload, sizeof payload, &reply);
        if (reply.length != TERNFORGE_CHECK_REPLY_LENGTH || number(reply.payload, 4)
            != crc32(memory + first * board->lanes, count * board->lanes))
            fail("the memory of the board does not keep what is written", NULL);
    }
}

/* Memory beside the FPGA is set up and tested after a reset, which takes milliseconds. */
static void await_memory(struct board *board) {
    struct frame reply;
    int tries = 0;
    do {
        request(board, TERNFORGE_COMMAND_COUNTERS, NULL, 0, &reply);
        if (reply.length < TERNFORGE_COUNTERS_EXTERNAL_LENGTH)
            fail("the board's answer has a wrong length", NULL);
    } while (reply.payload[TERNFORGE_COUNTERS_MEMORY] == TERNFORGE_MEMORY_INITIALISING
             && ++tries < MEMORY_TRIES);
}

/* The image memory in a file, and how many beats it has. */
static uint8_t *read_image(const char *name, unsigned lanes, unsigned long *beats) {
    uint8_t table[TERNFORGE_IMAGE_LENGTH + TERNFORGE_IMAGE_MEMORY_SECTIONS
                  * TERNFORGE_SECTION_LENGTH];
    FILE *file = fopen(name, "rb");
    if (!file) fail("the image cannot be opened", strerror(errno));
    if (fread(table, sizeof table, 1, file) != 1 ||
        memcmp(table, TERNFORGE_IMAGE_STARTS_WITH, strlen(TERNFORGE_IMAGE_STARTS_WITH)))
        fail("this is no image of ternforge", name);
    if (number(table + TERNFORGE_IMAGE_VERSION, 2) != TERNFORGE_IMAGE_VERSION_NUMBER)
        fail("the image is of another version of ternforge", name);
    if (number(table + TERNFORGE_IMAGE_LANES, 2) != lanes)
        fail("the image is packed for a core with another number of lanes", name);
    const uint8_t *section = table + TERNFORGE_IMAGE_LENGTH;
    const unsigned long start = number(section + TERNFORGE_SECTION_OFFSET, 8);
    unsigned long size = 0;
    for (int k = 0; k < TERNFORGE_IMAGE_MEMORY_SECTIONS; ++k)
        size += number(section + k * TERNFORGE_SECTION_LENGTH + TERNFORGE_SECTION_SIZE, 8);
    uint8_t *memory = malloc(size ? size : 1);
    if (!memory || fseek(file, (long)start, SEEK_SET) || fread(memory, 1, size, file) != size)
        fail("the image is cut short", name);
    for (int k = 0; k < TERNFORGE_IMAGE_MEMORY_SECTIONS; ++k) {
        const uint8_t *entry = section + k * TERNFORGE_SECTION_LENGTH;
        if (crc32(memory + number(entry + TERNFORGE_SECTION_OFFSET, 8) - start,
                  number(entry + TERNFORGE_SECTION_SIZE, 8))
            != number(entry + TERNFORGE_SECTION_CRC, 4))
            fail("the image is damaged: its CRC is wrong", name);
    }
    fclose(file);
    *beats = size / lanes;
    return memory;
}

/* Beat 0 tells an image from none: it is void until the rest stands. */
static void upload(struct board *board, const char *name) {
    unsigned long beats;
    uint8_t *memory = read_image(name, board->lanes, &beats);
    if (beats > board->memory_beats) fail("the image is larger than the board's memory", name);
    uint8_t first[255];
    memcpy(first, memory, board->lanes);
    memset(memory, 0, board->lanes);
    write_beats(board, memory, 0, 1);
    write_beats(board, memory, 1, beats);
    memcpy(memory, first, board->lanes);
    if (board->version == TERNFORGE_EXTERNAL_VERSION) check_beats(board, memory, 1, beats);
    write_beats(board, memory, 0, 1);
    free(memory);
    fprintf(stderr, "%lu beats are written\n", beats);
}

/* ---- tokens ---- */

static long token_of(const char *text) {
    char *end;
    const long value = strtol(text, &end, 10);
    if (*end || end == text || value < 0 || value >= TERNFORGE_NO_TOKEN)
        fail("a token must be a number of 0 to 65534, not", text);
    return value;
}

static void print_tokens(const struct frame *reply) {
    for (int k = 0; k + 1 < reply->length; k += 2) {
        const unsigned long token = number(reply->payload + k, 2);
        if (token == TERNFORGE_NO_TOKEN) fail("the board could not compute a token", NULL);
        printf("%lu\n", token);
    }
    fflush(stdout);
}

static void usage(void) {
    fail("usage: chat [-b BAUD] [-u IMAGE.tfi] [-n COUNT] PORT TOKEN...", NULL);
}

int main(int argc, char **argv) {
    const char *image = NULL;
    long count = 16, baud = TERNFORGE_BAUD;
    int option;
    while ((option = getopt(argc, argv, "b:u:n:")) != -1) {
        if (option == 'u') image = optarg;
        else if (option == 'n') count = token_of(optarg);
        else if (option == 'b') baud = atol(optarg);
        else usage();
    }
    if (argc - optind < 2 || count < 1) usage();

    struct board board = {.port = open_port(argv[optind], baud)};
    struct frame reply;
    request(&board, TERNFORGE_COMMAND_INFO, NULL, 0, &reply);
    board.version = reply.payload[TERNFORGE_INFO_VERSION];
    if (reply.length != TERNFORGE_INFO_LENGTH || (board.version != TERNFORGE_VERSION &&
                                                  board.version != TERNFORGE_EXTERNAL_VERSION))
        fail("the board speaks another version of the host protocol", NULL);
    board.lanes = reply.payload[TERNFORGE_INFO_LANES];
    board.memory_beats = number(reply.payload + TERNFORGE_INFO_MEMORY_BEATS, 3);
    if (board.version == TERNFORGE_EXTERNAL_VERSION) await_memory(&board);
    if (image) upload(&board, image);

    request(&board, TERNFORGE_COMMAND_RESET, NULL, 0, &reply);
    const int most = (int)(board.lanes + TERNFORGE_WRITE_ADDRESS) / 2;
    for (int k = optind + 1; k < argc;) { /* the prompt, as many tokens as a request holds */
        uint8_t payload[255];
        int fed = 0;
        while (fed < most && k < argc) put(payload + 2 * fed++, (unsigned long)token_of(argv[k++]),
                                           2);
        request(&board, TERNFORGE_COMMAND_STEP, payload, (uint8_t)(2 * fed), &reply);
    }
    print_tokens(&reply); /* what the model predicts after the prompt */
    for (--count; count > 0; count -= TERNFORGE_TOKENS_PER_FRAME) {
        uint8_t payload[2];
        put(payload, count < TERNFORGE_TOKENS_PER_FRAME ? (unsigned long)count
                                                        : TERNFORGE_TOKENS_PER_FRAME, 2);
        request(&board, TERNFORGE_COMMAND_GENERATE, payload, sizeof payload, &reply);
        print_tokens(&reply);
    }
    close(board.port);
    return 0;
}
