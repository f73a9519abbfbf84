"""What a spider is, how spiders are found and checked, and how their callbacks are run."""
