"""The sandbox image: a Python with numpy for candidates, and math-verify in a place that only the judge looks at."""
