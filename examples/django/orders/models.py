from django.db import models
from django.db.models import Count, F, Sum


class OrderQuerySet(models.QuerySet):
    def open(self):
        return self.filter(cancelled_at=None)

    def by_customer(self):
        """One row a customer: `customer`, `orders`, `cents`, the highest sum first."""
        return (
            self.open()
            .values("customer")
            .annotate(orders=Count("id", distinct=True), cents=Sum(F("lines__quantity") * F("lines__cents")))
            .order_by("-cents", "customer")
        )


class Order(models.Model):
    customer = models.CharField(max_length=80, db_index=True)
    placed_at = models.DateTimeField(auto_now_add=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    objects = OrderQuerySet.as_manager()

    def __str__(self):
        return f"order {self.pk} of {self.customer}"


class Line(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    product = models.CharField(max_length=80)
    quantity = models.PositiveIntegerField()
    cents = models.PositiveIntegerField(help_text="price of one")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(quantity__gt=0), name="some_of_it")]

    def __str__(self):
        return f"{self.quantity} × {self.product}"
