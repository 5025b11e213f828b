"""BERT (Devlin et al., 2018): bidirectional encoders pretrained by masked words and sentence pairs."""
