"""What each operation needs: actions and resources, one file for each service or few, from the Service Authorization
Reference."""
