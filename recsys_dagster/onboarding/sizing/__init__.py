"""What a refresh takes of machines before there is any data: numbers in, a table by stage out."""
