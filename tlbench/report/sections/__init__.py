"""The sections of the page: one file is one section; files that begin with an underscore are parts of one."""
