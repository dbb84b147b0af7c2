"""The pages, one file a subject. Each takes a Visit and answers with a Response."""
