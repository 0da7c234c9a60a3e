"""The kinds of pictures: one file each, and the folder is the list."""
