"""What a rehearsal needs of the database that it is in: a witness, and a look at its locks."""
