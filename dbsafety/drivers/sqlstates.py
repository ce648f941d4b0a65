"""The exception classes that psycopg2 and psycopg make of SQLSTATE codes: name and parent, as compact text."""

from __future__ import annotations

from collections.abc import Mapping

from dbsafety.drivers.spec import ErrorSpec

PSYCOPG2: Mapping[str, str] = {
    "psycopg2.DataError": """
        ArraySubscriptError BadCopyFileFormat CharacterNotInRepertoire DataException DatetimeFieldOverflow
        DivisionByZero DuplicateJsonObjectKeyValue ErrorInAssignment EscapeCharacterConflict
        FloatingPointException IndicatorOverflow IntervalFieldOverflow InvalidArgumentForLogarithm
        InvalidArgumentForNthValueFunction InvalidArgumentForNtileFunction InvalidArgumentForPowerFunction
        InvalidArgumentForSqlJsonDatetimeFunction InvalidArgumentForWidthBucketFunction
        InvalidBinaryRepresentation InvalidCharacterValueForCast InvalidDatetimeFormat InvalidEscapeCharacter
        InvalidEscapeOctet InvalidEscapeSequence InvalidIndicatorParameterValue InvalidJsonText
        InvalidParameterValue InvalidPrecedingOrFollowingSize InvalidRegularExpression
        InvalidRowCountInLimitClause InvalidRowCountInResultOffsetClause InvalidSqlJsonSubscript
        InvalidTablesampleArgument InvalidTablesampleRepeat InvalidTextRepresentation
        InvalidTimeZoneDisplacementValue InvalidUseOfEscapeCharacter InvalidXmlComment InvalidXmlContent
        InvalidXmlDocument InvalidXmlProcessingInstruction MoreThanOneSqlJsonItem MostSpecificTypeMismatch
        NoSqlJsonItem NonNumericSqlJsonItem NonUniqueKeysInAJsonObject NonstandardUseOfEscapeCharacter
        NotAnXmlDocument NullValueNoIndicatorParameter NullValueNotAllowed NumericValueOutOfRange
        SequenceGeneratorLimitExceeded SingletonSqlJsonItemRequired SqlJsonArrayNotFound
        SqlJsonItemCannotBeCastToTargetType SqlJsonMemberNotFound SqlJsonNumberNotFound SqlJsonObjectNotFound
        SqlJsonScalarRequired StringDataLengthMismatch StringDataRightTruncation SubstringError
        TooManyJsonArrayElements TooManyJsonObjectMembers TrimError UnterminatedCString UntranslatableCharacter
        ZeroLengthCharacterString
    """,
    "psycopg2.DatabaseError": """
        DiagnosticsException InvalidArgumentForXquery InvalidGrantOperation InvalidGrantor
        InvalidLocatorSpecification InvalidRoleSpecification InvalidTransactionInitiation LocatorException
        NoAdditionalDynamicResultSetsReturned NoData SnapshotTooOld SqlStatementNotYetComplete
        StackedDiagnosticsAccessedWithoutActiveHandler TriggeredActionException
    """,
    "psycopg2.IntegrityError": """
        CheckViolation ExclusionViolation ForeignKeyViolation IntegrityConstraintViolation NotNullViolation
        RestrictViolation UniqueViolation
    """,
    "psycopg2.InternalError": """
        ActiveSqlTransaction AssertFailure BranchTransactionAlreadyActive ConfigFileError
        ContainingSqlNotPermitted DataCorrupted DependentObjectsStillExist
        DependentPrivilegeDescriptorsStillExist EventTriggerProtocolViolated ExternalRoutineException
        ExternalRoutineInvocationException FunctionExecutedNoReturnStatement
        HeldCursorRequiresSameIsolationLevel IdleInTransactionSessionTimeout InFailedSqlTransaction
        InappropriateAccessModeForBranchTransaction InappropriateIsolationLevelForBranchTransaction
        IndexCorrupted InternalError_ InvalidCursorState InvalidSavepointSpecification InvalidSqlstateReturned
        InvalidTransactionState InvalidTransactionTermination LockFileExists ModifyingSqlDataNotPermitted
        ModifyingSqlDataNotPermittedExt NoActiveSqlTransaction NoActiveSqlTransactionForBranchTransaction
        NoDataFound NullValueNotAllowedExt PlpgsqlError ProhibitedSqlStatementAttempted
        ProhibitedSqlStatementAttemptedExt RaiseException ReadOnlySqlTransaction ReadingSqlDataNotPermitted
        ReadingSqlDataNotPermittedExt SavepointException SchemaAndDataStatementMixingNotSupported
        SqlRoutineException SrfProtocolViolated TooManyRows TransactionTimeout TriggerProtocolViolated
    """,
    "psycopg2.NotSupportedError": """
        FeatureNotSupported
    """,
    "psycopg2.OperationalError": """
        AdminShutdown CannotConnectNow CantChangeRuntimeParam ConfigurationLimitExceeded ConnectionDoesNotExist
        ConnectionException ConnectionFailure CrashShutdown DatabaseDropped DiskFull DuplicateFile
        FdwColumnNameNotFound FdwDynamicParameterValueNeeded FdwError FdwFunctionSequenceError
        FdwInconsistentDescriptorInformation FdwInvalidAttributeValue FdwInvalidColumnName
        FdwInvalidColumnNumber FdwInvalidDataType FdwInvalidDataTypeDescriptors
        FdwInvalidDescriptorFieldIdentifier FdwInvalidHandle FdwInvalidOptionIndex FdwInvalidOptionName
        FdwInvalidStringFormat FdwInvalidStringLengthOrBufferLength FdwInvalidUseOfNullPointer FdwNoSchemas
        FdwOptionNameNotFound FdwOutOfMemory FdwReplyHandle FdwSchemaNotFound FdwTableNotFound FdwTooManyHandles
        FdwUnableToCreateExecution FdwUnableToCreateReply FdwUnableToEstablishConnection FileNameTooLong
        IdleSessionTimeout InsufficientResources InvalidAuthorizationSpecification InvalidCursorName
        InvalidPassword InvalidSqlStatementName IoError LockNotAvailable ObjectInUse
        ObjectNotInPrerequisiteState OperatorIntervention OutOfMemory ProgramLimitExceeded ProtocolViolation
        SqlclientUnableToEstablishSqlconnection SqlserverRejectedEstablishmentOfSqlconnection
        StatementTooComplex SystemError TooManyArguments TooManyColumns TooManyConnections
        TransactionResolutionUnknown TriggeredDataChangeViolation UndefinedFile UnsafeNewEnumValueUsage
    """,
    "psycopg2.ProgrammingError": """
        AmbiguousAlias AmbiguousColumn AmbiguousFunction AmbiguousParameter CannotCoerce CardinalityViolation
        CaseNotFound CollationMismatch DatatypeMismatch DuplicateAlias DuplicateColumn DuplicateCursor
        DuplicateDatabase DuplicateFunction DuplicateObject DuplicatePreparedStatement DuplicateSchema
        DuplicateTable GeneratedAlways GroupingError IndeterminateCollation IndeterminateDatatype
        InsufficientPrivilege InvalidCatalogName InvalidColumnDefinition InvalidColumnReference
        InvalidCursorDefinition InvalidDatabaseDefinition InvalidForeignKey InvalidFunctionDefinition
        InvalidName InvalidObjectDefinition InvalidPreparedStatementDefinition InvalidRecursion
        InvalidSchemaDefinition InvalidSchemaName InvalidTableDefinition NameTooLong ReservedName SyntaxError
        SyntaxErrorOrAccessRuleViolation UndefinedColumn UndefinedFunction UndefinedObject UndefinedParameter
        UndefinedTable WindowingError WithCheckOptionViolation WrongObjectType
    """,
    "psycopg2.extensions.QueryCanceledError": """
        QueryCanceled
    """,
    "psycopg2.extensions.TransactionRollbackError": """
        DeadlockDetected SerializationFailure StatementCompletionUnknown TransactionIntegrityConstraintViolation
        TransactionRollback
    """,
}
"""The classes of `psycopg2.errors` by their parent."""

PSYCOPG: Mapping[str, str] = {
    "psycopg.DataError": """
        ArraySubscriptError BadCopyFileFormat CharacterNotInRepertoire DataException DatetimeFieldOverflow
        DivisionByZero DuplicateJsonObjectKeyValue ErrorInAssignment EscapeCharacterConflict
        FloatingPointException IndicatorOverflow IntervalFieldOverflow InvalidArgumentForLogarithm
        InvalidArgumentForNthValueFunction InvalidArgumentForNtileFunction InvalidArgumentForPowerFunction
        InvalidArgumentForSqlJsonDatetimeFunction InvalidArgumentForWidthBucketFunction
        InvalidBinaryRepresentation InvalidCharacterValueForCast InvalidDatetimeFormat InvalidEscapeCharacter
        InvalidEscapeOctet InvalidEscapeSequence InvalidIndicatorParameterValue InvalidJsonText
        InvalidParameterValue InvalidPrecedingOrFollowingSize InvalidRegularExpression
        InvalidRowCountInLimitClause InvalidRowCountInResultOffsetClause InvalidSqlJsonSubscript
        InvalidTablesampleArgument InvalidTablesampleRepeat InvalidTextRepresentation
        InvalidTimeZoneDisplacementValue InvalidUseOfEscapeCharacter InvalidXmlComment InvalidXmlContent
        InvalidXmlDocument InvalidXmlProcessingInstruction MoreThanOneSqlJsonItem MostSpecificTypeMismatch
        NoSqlJsonItem NonNumericSqlJsonItem NonUniqueKeysInAJsonObject NonstandardUseOfEscapeCharacter
        NotAnXmlDocument NullValueNoIndicatorParameter NullValueNotAllowed NumericValueOutOfRange
        SequenceGeneratorLimitExceeded SingletonSqlJsonItemRequired SqlJsonArrayNotFound
        SqlJsonItemCannotBeCastToTargetType SqlJsonMemberNotFound SqlJsonNumberNotFound SqlJsonObjectNotFound
        SqlJsonScalarRequired StringDataLengthMismatch StringDataRightTruncation SubstringError
        TooManyJsonArrayElements TooManyJsonObjectMembers TrimError UnterminatedCString UntranslatableCharacter
        ZeroLengthCharacterString
    """,
    "psycopg.DatabaseError": """
        DiagnosticsException InvalidGrantOperation InvalidGrantor InvalidLocatorSpecification
        InvalidRoleSpecification InvalidTransactionInitiation LocatorException
        NoAdditionalDynamicResultSetsReturned NoData SnapshotTooOld SqlStatementNotYetComplete
        StackedDiagnosticsAccessedWithoutActiveHandler TriggeredActionException
    """,
    "psycopg.IntegrityError": """
        CheckViolation ExclusionViolation ForeignKeyViolation IntegrityConstraintViolation NotNullViolation
        RestrictViolation UniqueViolation
    """,
    "psycopg.InternalError": """
        ActiveSqlTransaction BranchTransactionAlreadyActive DataCorrupted DependentObjectsStillExist
        DependentPrivilegeDescriptorsStillExist HeldCursorRequiresSameIsolationLevel
        IdleInTransactionSessionTimeout InFailedSqlTransaction InappropriateAccessModeForBranchTransaction
        InappropriateIsolationLevelForBranchTransaction IndexCorrupted InternalError_ InvalidCursorState
        InvalidTransactionState InvalidTransactionTermination NoActiveSqlTransaction
        NoActiveSqlTransactionForBranchTransaction ReadOnlySqlTransaction
        SchemaAndDataStatementMixingNotSupported TransactionTimeout
    """,
    "psycopg.NotSupportedError": """
        FeatureNotSupported
    """,
    "psycopg.OperationalError": """
        AdminShutdown CannotConnectNow CantChangeRuntimeParam ConfigFileError ConfigurationLimitExceeded
        ConnectionDoesNotExist ConnectionException ConnectionFailure ContainingSqlNotPermitted CrashShutdown
        DatabaseDropped DeadlockDetected DiskFull DuplicateFile EventTriggerProtocolViolated
        ExternalRoutineException ExternalRoutineInvocationException FdwColumnNameNotFound
        FdwDynamicParameterValueNeeded FdwError FdwFunctionSequenceError FdwInconsistentDescriptorInformation
        FdwInvalidAttributeValue FdwInvalidColumnName FdwInvalidColumnNumber FdwInvalidDataType
        FdwInvalidDataTypeDescriptors FdwInvalidDescriptorFieldIdentifier FdwInvalidHandle FdwInvalidOptionIndex
        FdwInvalidOptionName FdwInvalidStringFormat FdwInvalidStringLengthOrBufferLength
        FdwInvalidUseOfNullPointer FdwNoSchemas FdwOptionNameNotFound FdwOutOfMemory FdwReplyHandle
        FdwSchemaNotFound FdwTableNotFound FdwTooManyHandles FdwUnableToCreateExecution FdwUnableToCreateReply
        FdwUnableToEstablishConnection FileNameTooLong FunctionExecutedNoReturnStatement IdleSessionTimeout
        InsufficientResources InvalidAuthorizationSpecification InvalidPassword InvalidSavepointSpecification
        InvalidSqlstateReturned IoError LockFileExists LockNotAvailable ModifyingSqlDataNotPermitted
        ModifyingSqlDataNotPermittedExt NullValueNotAllowedExt ObjectInUse ObjectNotInPrerequisiteState
        OperatorIntervention OutOfMemory ProgramLimitExceeded ProhibitedSqlStatementAttempted
        ProhibitedSqlStatementAttemptedExt ProtocolViolation QueryCanceled ReadingSqlDataNotPermitted
        ReadingSqlDataNotPermittedExt SavepointException SerializationFailure SqlRoutineException
        SqlclientUnableToEstablishSqlconnection SqlserverRejectedEstablishmentOfSqlconnection
        SrfProtocolViolated StatementCompletionUnknown StatementTooComplex SystemError TooManyArguments
        TooManyColumns TooManyConnections TransactionIntegrityConstraintViolation TransactionResolutionUnknown
        TransactionRollback TriggerProtocolViolated TriggeredDataChangeViolation UndefinedFile
        UnsafeNewEnumValueUsage
    """,
    "psycopg.ProgrammingError": """
        AmbiguousAlias AmbiguousColumn AmbiguousFunction AmbiguousParameter AssertFailure CannotCoerce
        CardinalityViolation CaseNotFound CollationMismatch DatatypeMismatch DuplicateAlias DuplicateColumn
        DuplicateCursor DuplicateDatabase DuplicateFunction DuplicateObject DuplicatePreparedStatement
        DuplicateSchema DuplicateTable GeneratedAlways GroupingError IndeterminateCollation
        IndeterminateDatatype InsufficientPrivilege InvalidArgumentForXquery InvalidCatalogName
        InvalidColumnDefinition InvalidColumnReference InvalidCursorDefinition InvalidCursorName
        InvalidDatabaseDefinition InvalidForeignKey InvalidFunctionDefinition InvalidName
        InvalidObjectDefinition InvalidPreparedStatementDefinition InvalidRecursion InvalidSchemaDefinition
        InvalidSchemaName InvalidSqlStatementName InvalidTableDefinition NameTooLong NoDataFound PlpgsqlError
        RaiseException ReservedName SyntaxError SyntaxErrorOrAccessRuleViolation TooManyRows UndefinedColumn
        UndefinedFunction UndefinedObject UndefinedParameter UndefinedTable WindowingError
        WithCheckOptionViolation WrongObjectType
    """,
}
"""The classes of `psycopg.errors` that have an SQLSTATE, by their parent; some parents differ from psycopg2's."""
_LOST = """
    AdminShutdown CannotConnectNow ConnectionDoesNotExist ConnectionException ConnectionFailure CrashShutdown
    DatabaseDropped IdleInTransactionSessionTimeout IdleSessionTimeout ProtocolViolation
    SqlclientUnableToEstablishSqlconnection SqlserverRejectedEstablishmentOfSqlconnection
    TransactionResolutionUnknown TransactionTimeout
"""
CONNECTION_LOST = frozenset(_LOST.split())
"""Errors after which the server has ended the connection (SQLSTATE class 08, 57P01 to 57P05, 25P03, 25P04): there is
no transaction left that could be aborted (fact B1e)."""


def sqlstate_errors(prefix: str, by_parent: Mapping[str, str]) -> dict[str, ErrorSpec]:
    """Rows for the classes `prefix`.NAME of one of the tables above, by dotted name."""
    return {
        f"{prefix}.{name}": ErrorSpec((parent,), aborts=name not in CONNECTION_LOST)
        for parent, names in by_parent.items()
        for name in names.split()
    }
