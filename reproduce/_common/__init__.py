"""What the scripts of ``reproduce`` share; each of them is one published table or figure."""
