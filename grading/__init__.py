"""The instructor's side: the source of the course, its build, the grader."""
