"""The tables as they are shown on the page and kept beside it: csv, markdown and TeX. One kind of table, one file."""
