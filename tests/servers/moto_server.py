"""moto with the SES suppression list, which Chorus uses and moto lacks."""

import json
import sys

from moto.core.exceptions import JsonRESTError
from moto.server import main
from moto.sesv2 import urls
from moto.sesv2.responses import SESV2Response

suppressed = {}


class NotFound(JsonRESTError):
    code = 404

    def __init__(self):
        super().__init__("NotFoundException", "Email address does not exist on your suppression list.")


def put_suppressed_destination(self):
    request = json.loads(self.body)
    suppressed[request["EmailAddress"]] = request["Reason"]
    return json.dumps({})


def get_suppressed_destination(self):
    address = self._get_param("EmailAddress")
    if address not in suppressed:
        raise NotFound()
    return json.dumps(
        {
            "SuppressedDestination": {
                "EmailAddress": address,
                "Reason": suppressed[address],
                "LastUpdateTime": 0,
            }
        }
    )


SESV2Response.put_suppressed_destination = put_suppressed_destination
SESV2Response.get_suppressed_destination = get_suppressed_destination
urls.url_paths["{0}/v2/email/suppression/addresses$"] = SESV2Response.dispatch
urls.url_paths["{0}/v2/email/suppression/addresses/(?P<EmailAddress>[^/]+)$"] = SESV2Response.dispatch

sys.exit(main(sys.argv[1:]))
