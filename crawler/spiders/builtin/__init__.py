"""The spiders included in the crawler."""
