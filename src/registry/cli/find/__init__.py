"""Commands that find and describe models."""
