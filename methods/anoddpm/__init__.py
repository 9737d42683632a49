"""AnoDDPM: partial diffusion with simplex noise."""
