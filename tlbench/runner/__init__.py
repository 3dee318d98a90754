"""Running cells and trials on Ray. The only room that imports ray."""
