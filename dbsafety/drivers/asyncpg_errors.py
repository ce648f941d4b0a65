"""The exception classes of asyncpg: name and parent, as compact text."""

from __future__ import annotations

from collections.abc import Mapping

ASYNCPG: Mapping[str, str] = {
    "ConfigFileError": "LockFileExistsError",
    "DataError": """
        ArraySubscriptError BadCopyFileFormatError CharacterNotInRepertoireError DatetimeFieldOverflowError
        DivisionByZeroError DuplicateJsonObjectKeyValueError ErrorInAssignmentError EscapeCharacterConflictError
        IndicatorOverflowError IntervalFieldOverflowError InvalidArgumentForLogarithmError
        InvalidArgumentForNthValueFunctionError InvalidArgumentForNtileFunctionError
        InvalidArgumentForPowerFunctionError InvalidArgumentForSQLJsonDatetimeFunctionError
        InvalidArgumentForWidthBucketFunctionError InvalidBinaryRepresentationError
        InvalidCharacterValueForCastError InvalidDatetimeFormatError InvalidEscapeCharacterError
        InvalidEscapeOctetError InvalidEscapeSequenceError InvalidIndicatorParameterValueError
        InvalidJsonTextError InvalidParameterValueError InvalidPrecedingOrFollowingSizeError
        InvalidRegularExpressionError InvalidRowCountInLimitClauseError InvalidRowCountInResultOffsetClauseError
        InvalidSQLJsonSubscriptError InvalidTablesampleArgumentError InvalidTablesampleRepeatError
        InvalidTextRepresentationError InvalidTimeZoneDisplacementValueError InvalidUseOfEscapeCharacterError
        InvalidXmlCommentError InvalidXmlContentError InvalidXmlDocumentError
        InvalidXmlProcessingInstructionError MoreThanOneSQLJsonItemError MostSpecificTypeMismatchError
        NoSQLJsonItemError NonNumericSQLJsonItemError NonUniqueKeysInAJsonObjectError
        NonstandardUseOfEscapeCharacterError NotAnXmlDocumentError NullValueNoIndicatorParameterError
        NullValueNotAllowedError NumericValueOutOfRangeError PostgresFloatingPointError
        SQLJsonArrayNotFoundError SQLJsonItemCannotBeCastToTargetTypeError SQLJsonMemberNotFoundError
        SQLJsonNumberNotFoundError SQLJsonObjectNotFoundError SQLJsonScalarRequiredError
        SequenceGeneratorLimitExceededError SingletonSQLJsonItemRequiredError StringDataLengthMismatchError
        StringDataRightTruncationError SubstringError TooManyJsonArrayElementsError
        TooManyJsonObjectMembersError TrimError UnterminatedCStringError UntranslatableCharacterError
        ZeroLengthCharacterStringError
    """,
    "DependentPrivilegeDescriptorsStillExistError": "DependentObjectsStillExistError",
    "DiagnosticsError": "StackedDiagnosticsAccessedWithoutActiveHandlerError",
    "Exception": "InternalClientError",
    "ExternalRoutineError": """
        ContainingSQLNotPermittedError ModifyingExternalRoutineSQLDataNotPermittedError
        ProhibitedExternalRoutineSQLStatementAttemptedError ReadingExternalRoutineSQLDataNotPermittedError
    """,
    "ExternalRoutineInvocationError": """
        EventTriggerProtocolViolatedError InvalidSqlstateReturnedError NullValueInExternalRoutineNotAllowedError
        SrfProtocolViolatedError TriggerProtocolViolatedError
    """,
    "FDWError": """
        FDWColumnNameNotFoundError FDWDynamicParameterValueNeededError FDWFunctionSequenceError
        FDWInconsistentDescriptorInformationError FDWInvalidAttributeValueError FDWInvalidColumnNameError
        FDWInvalidColumnNumberError FDWInvalidDataTypeDescriptorsError FDWInvalidDataTypeError
        FDWInvalidDescriptorFieldIdentifierError FDWInvalidHandleError FDWInvalidOptionIndexError
        FDWInvalidOptionNameError FDWInvalidStringFormatError FDWInvalidStringLengthOrBufferLengthError
        FDWInvalidUseOfNullPointerError FDWNoSchemasError FDWOptionNameNotFoundError FDWOutOfMemoryError
        FDWReplyHandleError FDWSchemaNotFoundError FDWTableNotFoundError FDWTooManyHandlesError
        FDWUnableToCreateExecutionError FDWUnableToCreateReplyError FDWUnableToEstablishConnectionError
    """,
    "FatalPostgresError": "UnknownPostgresError",
    "FeatureNotSupportedError": "InvalidCachedStatementError",
    "InsufficientResourcesError": """
        ConfigurationLimitExceededError DiskFullError OutOfMemoryError TooManyConnectionsError
    """,
    "IntegrityConstraintViolationError": """
        CheckViolationError ExclusionViolationError ForeignKeyViolationError NotNullViolationError
        RestrictViolationError UniqueViolationError
    """,
    "InterfaceError": "UnsupportedClientFeatureError UnsupportedServerFeatureError",
    "InternalClientError": "OutdatedSchemaCacheError ProtocolError TargetServerAttributeNotMatched",
    "InternalServerError": "DataCorruptedError IndexCorruptedError",
    "InvalidAuthorizationSpecificationError": "InvalidPasswordError",
    "InvalidGrantorError": "InvalidGrantOperationError",
    "InvalidTransactionStateError": """
        ActiveSQLTransactionError BranchTransactionAlreadyActiveError HeldCursorRequiresSameIsolationLevelError
        IdleInTransactionSessionTimeoutError InFailedSQLTransactionError
        InappropriateAccessModeForBranchTransactionError InappropriateIsolationLevelForBranchTransactionError
        NoActiveSQLTransactionError NoActiveSQLTransactionForBranchTransactionError ReadOnlySQLTransactionError
        SchemaAndDataStatementMixingNotSupportedError TransactionTimeoutError
    """,
    "LocatorError": "InvalidLocatorSpecificationError",
    "ObjectNotInPrerequisiteStateError": """
        CantChangeRuntimeParamError LockNotAvailableError ObjectInUseError UnsafeNewEnumValueUsageError
    """,
    "OperatorInterventionError": """
        AdminShutdownError CannotConnectNowError CrashShutdownError DatabaseDroppedError IdleSessionTimeoutError
        QueryCanceledError
    """,
    "PLPGSQLError": "AssertError NoDataFoundError RaiseError TooManyRowsError",
    "PostgresConnectionError": """
        ClientCannotConnectError ConnectionDoesNotExistError ConnectionFailureError ConnectionRejectionError
        ProtocolViolationError TransactionResolutionUnknownError
    """,
    "PostgresError": """
        CardinalityViolationError CaseNotFoundError ConfigFileError DataError
        DependentPrivilegeDescriptorsStillExistError DiagnosticsError ExternalRoutineError
        ExternalRoutineInvocationError FDWError FatalPostgresError FeatureNotSupportedError
        InsufficientResourcesError IntegrityConstraintViolationError InternalServerError
        InvalidArgumentForXqueryError InvalidAuthorizationSpecificationError InvalidCatalogNameError
        InvalidCursorNameError InvalidCursorStateError InvalidGrantorError InvalidRoleSpecificationError
        InvalidSQLStatementNameError InvalidSchemaNameError InvalidTransactionInitiationError
        InvalidTransactionStateError InvalidTransactionTerminationError LocatorError
        ObjectNotInPrerequisiteStateError OperatorInterventionError PLPGSQLError PostgresConnectionError
        PostgresSystemError ProgramLimitExceededError SQLRoutineError SQLStatementNotYetCompleteError
        SavepointError SnapshotTooOldError SyntaxOrAccessError TransactionRollbackError TriggeredActionError
        TriggeredDataChangeViolationError WithCheckOptionViolationError
    """,
    "PostgresSystemError": "DuplicateFileError FileNameTooLongError PostgresIOError UndefinedFileError",
    "ProgramLimitExceededError": "StatementTooComplexError TooManyArgumentsError TooManyColumnsError",
    "SQLRoutineError": """
        FunctionExecutedNoReturnStatementError ModifyingSQLDataNotPermittedError
        ProhibitedSQLStatementAttemptedError ReadingSQLDataNotPermittedError
    """,
    "SavepointError": "InvalidSavepointSpecificationError",
    "SyntaxOrAccessError": """
        AmbiguousAliasError AmbiguousColumnError AmbiguousFunctionError AmbiguousParameterError
        CannotCoerceError CollationMismatchError DatatypeMismatchError DuplicateAliasError DuplicateColumnError
        DuplicateCursorError DuplicateDatabaseError DuplicateFunctionError DuplicateObjectError
        DuplicatePreparedStatementError DuplicateSchemaError DuplicateTableError GeneratedAlwaysError
        GroupingError IndeterminateCollationError IndeterminateDatatypeError InsufficientPrivilegeError
        InvalidColumnDefinitionError InvalidColumnReferenceError InvalidCursorDefinitionError
        InvalidDatabaseDefinitionError InvalidForeignKeyError InvalidFunctionDefinitionError InvalidNameError
        InvalidObjectDefinitionError InvalidPreparedStatementDefinitionError InvalidRecursionError
        InvalidSchemaDefinitionError InvalidTableDefinitionError NameTooLongError PostgresSyntaxError
        ReservedNameError UndefinedColumnError UndefinedFunctionError UndefinedObjectError
        UndefinedParameterError UndefinedTableError WindowingError WrongObjectTypeError
    """,
    "TransactionRollbackError": """
        DeadlockDetectedError SerializationError StatementCompletionUnknownError
        TransactionIntegrityConstraintViolationError
    """,
}
"""The exceptions of asyncpg by their only parent; `Exception` is the built-in one."""
