"""One module per framework; each has `build(task, **variant) -> Built`."""
