"""Side-by-side measurements, printed as ratios. Each compares like with like in one run on one machine."""
