"""People and how they prove who they are: passwords, further factors, invitations, imports."""
