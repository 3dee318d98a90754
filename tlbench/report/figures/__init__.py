"""The figures. In every file ``frame`` makes a tidy data frame of what is known, and ``chart`` draws the frame."""
