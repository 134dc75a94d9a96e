variable "image" {
  description = "What the containers start from; `skylift image add my/app:1` gives a virtual environment this name."
  type        = string
  default     = "my/app:1"
}

variable "desired_count" {
  description = "How many ECS tasks the service keeps running."
  type        = number
  default     = 1
}
