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

variable "plain_port" {
  description = "Where the load balancer listens for http; below 1024 an ordinary user may not."
  type        = number
  default     = 8080
}

variable "encrypted_port" {
  description = "Where it listens for https."
  type        = number
  default     = 8443
}
