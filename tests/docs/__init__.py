"""The pages of the documentation: their links, their site and every command on them."""
