"""Charts of the page. Each is a function from figures to a drawing; none needs a script."""
