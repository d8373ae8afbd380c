"""Long context: tasks of RULER's kinds, generated here at lengths from 4K to 128K tokens."""
