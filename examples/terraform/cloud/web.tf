# A load balancer that ends TLS with a certificate of Certificate Manager, and sends plain requests there.

resource "aws_subnet" "second" {
  vpc_id            = aws_vpc.main.id
  cidr_block        = "10.7.2.0/24"
  availability_zone = "us-east-1b"
}

resource "aws_acm_certificate" "web" {
  domain_name               = "web.example.org"
  subject_alternative_names = ["*.web.example.org"]
  validation_method         = "DNS"
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb" "web" {
  name            = "terraform-web"
  subnets         = [aws_subnet.main.id, aws_subnet.second.id]
  security_groups = [aws_security_group.main.id]
}

resource "aws_lb_target_group" "web" {
  name        = "terraform-web"
  port        = 8080
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = aws_vpc.main.id
}

resource "aws_lb_listener" "plain" {
  load_balancer_arn = aws_lb.web.arn
  port              = var.plain_port
  protocol          = "HTTP"
  default_action {
    type = "redirect"
    redirect {
      port        = var.encrypted_port
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_listener" "encrypted" {
  load_balancer_arn = aws_lb.web.arn
  port              = var.encrypted_port
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate.web.arn
  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      message_body = "encrypted"
      status_code  = "200"
    }
  }
}

resource "aws_lb_listener_rule" "work" {
  listener_arn = aws_lb_listener.encrypted.arn
  priority     = 10
  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.web.arn
  }
  condition {
    path_pattern {
      values = ["/work/*"]
    }
  }
}
