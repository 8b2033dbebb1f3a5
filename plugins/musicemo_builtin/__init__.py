"""The datasets, models, losses, weightings and observers that come with musicemo."""
