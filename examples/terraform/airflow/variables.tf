variable "port" {
  description = "The port of AWS_ENDPOINT_URL, as `skylift shellenv` prints it."
  type        = number
  default     = 4747
}
