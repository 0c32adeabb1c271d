"""The can-I-email data as package data; PROVENANCE.txt says where it comes from."""
