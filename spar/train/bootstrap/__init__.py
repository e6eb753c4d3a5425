"""The first actor and the first refiner, made with a teacher: settings, stages, data, the order of it all."""
