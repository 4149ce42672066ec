import json

from django.core.management.base import BaseCommand, CommandError

from orders.models import Order


class Command(BaseCommand):
    help = "Prints what each customer has ordered."

    def add_arguments(self, parser):
        parser.add_argument("--customer", help="only this one")
        parser.add_argument("--top", type=int, default=10, help="how many customers (default: 10)")
        parser.add_argument("--format", choices=["text", "json"], default="text")

    def handle(self, *, customer, top, **options):
        orders = Order.objects.all()
        if customer:
            orders = orders.filter(customer=customer)
        rows = list(orders.by_customer()[:top])
        if customer and not rows:
            raise CommandError(f"{customer} has no orders", returncode=3)
        if options["format"] == "json":
            self.stdout.write(json.dumps(rows))
            return
        self.stdout.write(f"{'customer':<20}{'orders':>8}{'total':>12}")
        for row in rows:
            self.stdout.write(f"{row['customer']:<20}{row['orders']:>8}{(row['cents'] or 0) / 100:>12.2f}")
