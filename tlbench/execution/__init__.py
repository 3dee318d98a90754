"""Running cells: one cell (run_cell), what cells share (warm), many of them on Ray (slots, driver)."""
