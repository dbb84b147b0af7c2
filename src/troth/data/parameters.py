"""PostgreSQL's own settings, where they are the same for every member."""

FOOTPRINT: dict[str, object] = {
    "shared_buffers": "32MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "16MB",
    "autovacuum_max_workers": 1,
    "max_logical_replication_workers": 0,
    "max_parallel_workers_per_gather": 0,
    "jit": "off",
    "min_wal_size": "48MB",
    "max_wal_size": "256MB",
    "max_slot_wal_keep_size": "2GB",
}
"""Three members and everything else stay under 900 MB; no absent member fills the disk with WAL."""

FAULTS: dict[str, object] = {
    "summarize_wal": "on",
    "wal_sender_timeout": "5s",
    "wal_receiver_timeout": "5s",
    "wal_retrieve_retry_interval": "500ms",
    "tcp_user_timeout": "5s",
    "client_connection_check_interval": "2s",
    "idle_in_transaction_session_timeout": "30s",
}
"""What is cut off or hung is noticed in seconds."""

LOGGING: dict[str, object] = {
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %u ",
    "log_error_verbosity": "terse",  # the detail of an error quotes the row
    "log_min_error_statement": "panic",
    "log_parameter_max_length": 0,
    "log_parameter_max_length_on_error": 0,
    "log_checkpoints": "off",
    "log_timezone": "GMT",
    "timezone": "GMT",
}
"""No statement and no row in a log file."""
