"""The first actor and the first refiner, trained with a teacher: settings, stages, data, pipeline."""
