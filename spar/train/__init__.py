"""Training: from search trees to the next actor and refiner."""
