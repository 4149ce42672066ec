"""What a run can be: a function of one argument (the run's params) that returns something JSON can say.

Nothing here knows that it runs warm. `progress` is the exception, and does nothing elsewhere.
"""

import random

from django.db import transaction
from django.db.models import Count, F, Sum
from django.utils import timezone

from orders.models import Line, Order

try:
    from preforkd import progress
except ImportError:  # run cold, by `manage.py shell` or a test

    def progress(value):
        pass


CUSTOMERS = ["Ada", "Blaise", "Charles", "Dorothy", "Edsger", "Frances", "Grace"]
PRODUCTS = {"cable": 450, "keyboard": 8900, "lamp": 3250, "notebook": 199_900, "pen": 120}
BATCH = 50  # orders in a transaction, so that other runs get their turn to write


def create_orders(params):
    """{"count": 20, "customer": "Ada"} → {"created": 20, "first": 1, "last": 20}; both keys may be left out."""
    params = params or {}
    count, customer, ids = params.get("count", 1), params.get("customer"), []
    if not 1 <= count <= 10_000:
        raise ValueError(f"count is {count}; it may be 1 to 10000")
    while len(ids) < count:
        with transaction.atomic():
            for _ in range(min(BATCH, count - len(ids))):
                order = Order.objects.create(customer=customer or random.choice(CUSTOMERS))
                products = random.sample(sorted(PRODUCTS), k=random.randint(1, 3))
                Line.objects.bulk_create(
                    Line(order=order, product=product, quantity=random.randint(1, 4), cents=PRODUCTS[product])
                    for product in products
                )
                ids.append(order.pk)
        progress({"created": len(ids), "of": count})
    return {"created": len(ids), "first": ids[0], "last": ids[-1]}


def totals(params):
    """→ {"orders": 20, "cents": 1234500, "products": {"lamp": 12, …}}, of all orders that are not cancelled."""
    lines = Line.objects.filter(order__cancelled_at=None)
    sums = lines.aggregate(orders=Count("order", distinct=True), cents=Sum(F("quantity") * F("cents")))
    products = lines.values_list("product").annotate(Sum("quantity")).order_by("product")
    return {"orders": sums["orders"], "cents": sums["cents"] or 0, "products": dict(products)}


def cancel_order(params):
    """{"order": 7} → {"order": 7, "customer": "Ada"}. One that is not there is an error of the run."""
    with transaction.atomic():
        order = Order.objects.open().get(pk=params["order"])
        order.cancelled_at = timezone.now()
        order.save(update_fields=["cancelled_at"])
    return {"order": order.pk, "customer": order.customer}
