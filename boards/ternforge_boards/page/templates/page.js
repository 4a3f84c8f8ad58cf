"use strict";
// Tables sort by a click on a heading, or with Enter or Space while it has the focus.
const said = document.getElementById("said");

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  const numbers = [Number(a), Number(b)];
  return numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1];
}

function sortBy(heading) {
  const table = heading.closest("table");
  const column = heading.cellIndex;
  const descending = heading.getAttribute("aria-sort") === "ascending";
  const key = (row) => row.cells[column].getAttribute("data-key");
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    return descending && x !== null && y !== null ? compare(y, x) : compare(x, y);
  });
  table.tBodies[0].append(...rows);
  for (const other of heading.parentNode.cells) other.setAttribute("aria-sort", "none");
  const order = descending ? "descending" : "ascending";
  heading.setAttribute("aria-sort", order);
  said.textContent = `${table.caption.textContent}: sorted by ${heading.querySelector("button").textContent}, ${order}`;
}

for (const button of document.querySelectorAll("table.data thead button")) {
  button.addEventListener("click", () => sortBy(button.closest("th")));
}

// What a mark of a chart stands for, beside the pointer.
const tip = document.getElementById("tip");

document.addEventListener("pointermove", (event) => {
  const mark = event.target.closest?.(".mark");
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = mark.dataset.tip;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 4))}px`;
  tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
});

// The build under the pointer stands out in every chart.
document.addEventListener("pointerover", (event) => {
  const part = event.target.closest?.("svg [data-build], .card[data-build]");
  document.body.classList.toggle("focused", Boolean(part));
  if (!part) return;
  for (const other of document.querySelectorAll("svg [data-build], .card[data-build]")) {
    other.classList.toggle("dim", other.dataset.build !== part.dataset.build);
  }
});
