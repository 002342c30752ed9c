"""The book: notebooks executed, pages and boxes made around them, the HTML built and checked."""
