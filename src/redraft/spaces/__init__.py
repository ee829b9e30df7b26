"""What a picture, a label map or a category is: raw values -> tensors for networks -> pictures to look at."""
