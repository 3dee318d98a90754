"""What ``import tlbench`` offers: one function a file, for programs and notebooks, and for the commands on top of them.

Nothing here prints, unless progress is asked for, and nothing ends the process: mistakes are
:class:`tlbench.core.errors.UserError`. Heavy libraries are imported when a function is called.
"""
