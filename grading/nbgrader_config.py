"""nbgrader's settings, the same for build, grading and the Validate button (`make setup` installs them)."""

c = get_config()  # noqa: F821  (nbgrader defines it)

c.CourseDirectory.course_id = "two-views"
c.ClearSolutions.code_stub = {"python": "raise NotYet()  # write your answer in place of this line"}
c.Execute.timeout = 120  # seconds a cell; nbgrader's 30 are too few for training on a busy laptop
c.Execute.iopub_timeout = 60  # nbgrader's 4 lose a whole submission on a busy machine
c.OverwriteCells.add_missing_cells = True  # a deleted check cell comes back
