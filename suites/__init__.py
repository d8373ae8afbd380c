"""What is asked: the registry of benchmarks, their data sources, and one short file each."""
