-- Tenants' policies, and domains that come and go while the platform runs.
--
-- `policy` holds what a tenant decided (core/policy.py); what it leaves out is the default of the running version.
alter table troth.tenant add column policy jsonb not null default '{}' check (jsonb_typeof(policy) = 'object');
