"""What describes a trial: presets, resolution, identity, durations."""
