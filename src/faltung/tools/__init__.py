"""What people touch: the command line, the verification, the pictures. Nothing imports these."""
