"""What two chapters or more use: records of a figure, tables, and sentences on what they say."""
