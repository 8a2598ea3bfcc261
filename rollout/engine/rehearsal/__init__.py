"""What a rehearsal needs in its database: fingerprints of the data, and a record of its locks."""
