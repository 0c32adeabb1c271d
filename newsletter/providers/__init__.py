"""The services that take mail from us, one file per vendor; each implements delivery.provider.MailProvider."""
