"""From raw maps to the metrics, ladder and gaps of a record."""
